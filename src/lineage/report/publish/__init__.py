"""The tables of the documentation: which there are, their files, and their Markdown."""
