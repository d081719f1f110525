"""What a customer is worth: whether they are still active, how often they will buy, and for how much.

bgnbd.py         purchases: the BG/NBD model of Fader, Hardie and Lee (2005)
gamma_gamma.py   spend: the Gamma-Gamma model of Fader and Hardie (2013)
maxima.py        the search for parameters, which both share
holdout.py       how well the first foretells: fitted up to a day, compared with what came after it
warnings.py      who is likely to be lost

Pure: numpy and SciPy, imported in functions, and nothing of ours. Times are weeks, as the paper has them; days are
divided by DAYS_PER_UNIT.
"""

DAYS_PER_UNIT = 7
# What is foretold.
HORIZON_DAYS = 90
