"""Knowledge as a folder of Markdown files, and back."""
