"""Families of outcomes of generalized linear mixed models: `mixed(..., family=families.Binomial(link="probit"))`."""

from crosslevel.families.amounts import Gamma as Gamma
from crosslevel.families.base import Family as Family
from crosslevel.families.base import Terms as Terms
from crosslevel.families.binomial import Binomial as Binomial
from crosslevel.families.counts import NegativeBinomial as NegativeBinomial
from crosslevel.families.counts import Poisson as Poisson
from crosslevel.families.gaussian import GaussianWorking as GaussianWorking
from crosslevel.families.names import FAMILIES as FAMILIES
from crosslevel.families.names import family_of as family_of
from crosslevel.families.ordinal import Ordinal as Ordinal
from crosslevel.families.shares import Beta as Beta
from crosslevel.families.shares import BetaBinomial as BetaBinomial
