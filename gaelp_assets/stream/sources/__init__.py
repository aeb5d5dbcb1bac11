"""Where streams come from: each module knows one protocol, gathers messages, and tells its source of those alone that are durable.

`running` finds the streams that the catalogue names; what a message says, `messages` tells; what becomes of a batch is up to the receiver.
"""
