"""The commands of ``sarhub``, one a module that is named after it and defines ``command``.

A package is a group of commands (``sarhub cache list``) and defines ``group``. Typer reads options and help from the
function; nothing else has to know of a new module.
"""
