"""Mails: to customers out of a queue of rows, one a parcel and class; to operators at once, for who keeps rows of its own.

At least once, as everything: a mail that the server took and of which we could not keep that is sent again. Both have one Message-ID,
made of the notice's key, by which a reader's program may fold them.
"""
