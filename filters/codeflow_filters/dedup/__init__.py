"""What two changes have in common: the pure functions behind the dedup stage.

`lines` finds the lines of a batch of patches. `exact` names a change so that equal ones have equal
names. `shingles` makes the set of token n-grams of a change, `signatures` its MinHash and the keys
of its bands, `curve` says what the bands find. `links` joins what was found to clusters.
"""
