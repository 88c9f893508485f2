"""How many workers a load needs: a formula (`queueing`), a simulation (`simulation`), a table of both."""
