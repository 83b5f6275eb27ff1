"""Text of strangers: what git refuses, what names people. Plug-ins may import it, too."""
