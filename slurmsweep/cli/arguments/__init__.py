"""The arguments of every command, by what the commands do. Imports nothing else of ours: agents parse with it too."""
