"""The command line: words into calls. One module a command."""
