"""Models that are translated to other packages and back, on the bundled data with a few columns more."""

from functools import cache

import numpy as np
import pandas as pd

import crosslevel as cl


@cache
def data_of(name: str) -> pd.DataFrame:
    """The bundled data, with districts of schools, rooms that cross them, counts and weights."""
    data = cl.datasets.load(name)
    if name != "hsb":
        return data.assign(Late=np.where(data["Days"] >= 5, "yes", "no"))
    school, row = data["school"].astype(int), np.arange(len(data))
    return data.assign(
        district=(school % 17).astype(str),
        room=row % 7,
        wave=row % 4,
        count=(np.maximum(data["mathach"], 0.0) // 4).astype(int),
        time=1.0 + row % 3,
        correct=np.clip(np.rint(data["mathach"]), 0, 25).astype(int),
        items=25,
        w=1.0 + (row % 5) / 2.0,
        w2=1.0 + school % 3,
    )


MODELS = {
    "empty": ("mathach ~ 1 + (1 | school)", "hsb", {}),
    "slopes_as_outcomes": (
        "mathach ~ within(ses, school) * sector + between(ses, school) * sector + (within(ses, school) | school)",
        "hsb", {},
    ),
    "centred": ("mathach ~ center(ses) * sector + I(ses ** 2) + (ses || school)", "hsb", {"method": "ml"}),
    "weighted_effects": ("mathach ~ scale(ses) + wec(sector) + (1 | school)", "hsb", {"offset": "minority"}),
    "polynomial": ("Reaction ~ poly(Days, 2) + (Days | Subject)", "sleepstudy", {"method": "ml"}),
    "nested": ("mathach ~ ses + C(wave) + (ses | district) + (1 | school)", "hsb", {}),
    "nested_explicit": ("mathach ~ ses + (1 | district / school)", "hsb", {"method": "ml"}),
    "crossed": ("mathach ~ ses + (1 | room) + (ses | school)", "hsb", {"method": "ml"}),
    "no_intercept": ("Reaction ~ 0 + Days + Late + (0 + Days | Subject)", "sleepstudy", {"method": "ml"}),
    "another_reference": (
        "mathach ~ ses * C(wave, contr.treatment(2)) + C(sector, contr.treatment('Catholic')) + (1 | school)",
        "hsb", {},
    ),
    "precision": ("mathach ~ ses + (1 | school)", "hsb", {"weights": cl.Precision("w")}),
    "compound_symmetry": ("mathach ~ ses + cs(1 + ses | district)", "hsb", {"method": "ml"}),
    "heteroscedastic": ("mathach ~ ses + (1 | school)", "hsb", {"residual": cl.residual.By("sector")}),
    "autoregressive": (
        "Reaction ~ Days + (1 | Subject)", "sleepstudy", {"residual": cl.residual.AR1("Days", within="Subject")},
    ),
    "autoregressive_alone": (
        "Reaction ~ Days", "sleepstudy", {"residual": cl.residual.AR1("Days", within="Subject")},
    ),
    "exchangeable": (
        "Reaction ~ Days", "sleepstudy",
        {"residual": cl.residual.CompoundSymmetry("Subject"), "method": "ml"},
    ),
    "logit": ("minority ~ ses + sector + (1 | school)", "hsb", {"family": "binomial", "quadrature": 7}),
    "logit_slope": ("minority ~ ses + (ses | district)", "hsb", {"family": "binomial", "quadrature": 1}),
    "trials": ("correct ~ ses + (1 | school)", "hsb", {"family": "binomial", "trials": "items", "quadrature": 1}),
    "poisson": (
        "count ~ ses + sector + (1 | school)", "hsb", {"family": "poisson", "exposure": "time", "quadrature": 1},
    ),
}  # fmt: skip
