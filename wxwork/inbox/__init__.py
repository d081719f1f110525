"""The inbox: what WeCom told us, stored before it is answered, worked on afterwards, in order, until it is done.

    storing      one statement: the callback, its key, the welcome that is owed
    waking       tells the workers, without the answer waiting for a broker
    claims       which callback is next, who has it, and what became of it
    working      claim, handle, finish, again
    outcomes     which errors are tried again, when, and which are dead letters
    replaying    once more, by hand
    forgetting   erased persons, and what is old
    figures      lag, dead letters and what was handled, for /metrics

    waiting ──take──> worked on ──finish──> done | ignored | dead       (the next one of the key is due)
       ^                 │ └──finish──────> waiting, due later          (the key waits with it: nobody overtakes)
       │                 │ └──a repeat came meanwhile──> waiting, due now
       │                 └──silent for CLAIM_SECONDS: whoever takes the key begins it again
       └──a repeat of one that is over, or a replay

Rows are the truth. A message of Celery only says that there may be work; the keeper says so too, every few seconds.
"""
