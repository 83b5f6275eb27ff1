"""Filters, decontamination and dedup for mined triples; `registry` names them all.

Importing this imports nothing: the process that parses hostile text lives in here, too.
"""
