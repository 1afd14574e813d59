"""What is installed here: packages, their licences and files, and the locks that name them.

Imports errors only, and reads what pip wrote down; client and server may ask it alike.
"""
