"""From `codeflow.toml` to a finished folder."""
