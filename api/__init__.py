"""The ways in from outside."""

if __name__ == "api":  # found under the folder's name, in a checkout
    from perdure.checkout import alias

    alias("api")
