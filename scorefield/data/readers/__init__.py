"""What opens files: the embedded digits, known sets, a user's own, and what is given to a command.

Only this package and `store` touch the disk.
"""
