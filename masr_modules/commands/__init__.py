"""The `masr` command: one module for each of its subcommands."""
