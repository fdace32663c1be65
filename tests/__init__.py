"""One promise a test, told by its name and docstring; real parts wherever there are any."""
