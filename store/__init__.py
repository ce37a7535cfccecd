"""Storage of records."""

if __name__ == "store":  # found under the folder's name, in a checkout
    from perdure.checkout import alias

    alias("store")
