"""How complete the mirror is: counted, listed, written as a manifest, checked against a copy."""
