"""The shape of every state file and journal record: the one source of their keys."""
