"""`report.html`: what went in, what came out, and what was trained on it, on one page.

`gather`, `stages`, `examples` and `training` read the folder; `figures` and `curation` turn what
they found into charts, which `charts` draws; `views` are the tables and words; `page` fills
`page.html.j2`, and `writer` puts it in its place.

Costs about two reads of the triples, and a second or two for the drawings.
"""
