"""Git's formats, computed without git: object ids, names, patches."""
