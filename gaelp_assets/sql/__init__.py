"""GoogleSQL read, checked and translated. The only part that knows sqlglot's trees; nothing here runs a statement."""
