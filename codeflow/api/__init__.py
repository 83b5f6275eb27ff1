"""The Python interface: each command as a function; `codeflow/__init__.py` names them."""
