"""The built-in corpus of short English stories and the checker that judges texts by the same grammar; knows no model.

A small world (people, places, things, what can be done with them) and the lines that stories are told in lie as data
in ``world/``. The generator writes stories by choosing among them; the checker recognises sentences by them.
"""
