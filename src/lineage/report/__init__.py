"""What is shown of a log: tables, figures, pages, and the published tables."""
