"""From triples to rows of exactly T tokens: order, render, encode, fit, pack, write."""
