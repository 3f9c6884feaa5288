"""The commands of `pyhybrid`, one module each: HELP, configure(parser), run(options) -> exit status."""
