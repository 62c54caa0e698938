"""Results as people read them: table rows, Markdown, one-line headlines. Strings and finite numbers only."""
