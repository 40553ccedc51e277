"""The built-in corpus of generated short English stories, and a checker that parses texts with the same grammar.

``world/`` holds the data: people, places, things, actions, and the sentence templates. The generator samples from them;
the checker matches sentences against them.
"""
