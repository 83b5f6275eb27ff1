"""Quality filters for mined triples. The filter stage is not built yet; mining keeps everything."""
