"""The shared evaluation record: its terms, its tables, and the one door to the database.

`terms` and `clock` know no I/O. `tables` is the record as stored, `privacy` what may be read of a number, `door` the
only way to write. Nothing here imports another package of the project.
"""
