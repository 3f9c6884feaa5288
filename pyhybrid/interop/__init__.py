"""Other people's formats and frameworks. Each module imports the library it needs when it is used, and says so if that is missing."""
