"""Run the translations of the models in tests/translation_models.py in R, and note their log-likelihoods.

Needs R with lme4, nlme and glmmTMB: `python tests/reference/translation/translation.py`, from the root of the
repository. Run by hand, never by the tests.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, "tests")

from translation_models import MODELS, data_of

import crosslevel as cl

HERE = Path(__file__).parent
PACKAGES = {"lme4": "lme4", "nlme": "nlme", "glmmtmb": "glmmTMB"}


def run(code: str, name: str) -> float | None:
    """Log-likelihood of `model` after some code in R; None if the fit did not converge, so that it is NA."""
    with tempfile.TemporaryDirectory() as folder:
        data_of(name).to_csv(f"{folder}/data.csv", index=False)
        script = (
            f'data <- read.csv("{folder}/data.csv")\n{code}\n'
            'cat("\\nLOGLIK", format(as.numeric(logLik(model)), digits = 15), "\\n")\n'
        )
        Path(f"{folder}/run.R").write_text(script)
        out = subprocess.run(["Rscript", f"{folder}/run.R"], capture_output=True, text=True, check=False)
    for line in out.stdout.splitlines():
        if line.startswith("LOGLIK"):
            return None if line.split()[1] == "NA" else float(line.split()[1])
    raise RuntimeError(f"{code}\n{out.stderr}")


def main() -> None:
    """Write translation.json; with names of models, these anew and the others as they are there."""
    asked = sys.argv[1:] or list(MODELS)
    known = json.loads((HERE / "translation.json").read_text())["cases"] if sys.argv[1:] else []
    found = [case for case in known if case["model"] not in asked]
    for model in asked:
        formula, name, arguments = MODELS[model]
        for to in PACKAGES:
            if to == "glmmtmb" and arguments.get("quadrature", 1) != 1:
                continue  # it has Laplace's approximation only
            try:
                code = cl.translate(formula, to, data=data_of(name), **arguments)
            except cl.CrosslevelError as error:
                print(model, to, error)
                continue
            loglik = run(code, name)
            if loglik is None:
                print(model, to, "did not converge")
                continue
            fit = cl.mixed(formula, data_of(name), **arguments)
            print(f"{model:20} {to:8} {loglik:.8f} {fit.loglik - loglik:.2e}")
            found.append({"model": model, "to": to, "code": code.splitlines(), "loglik": loglik})
    listed = ", ".join(f'"{name}"' for name in PACKAGES.values())
    question = f'cat(R.version.string, sapply(c({listed}), function(p) paste(p, packageVersion(p))), sep = ", ")'
    versions = subprocess.run(
        ["Rscript", "-e", question],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    found.sort(key=lambda case: list(MODELS).index(case["model"]))
    record = {"versions": versions, "cases": found}
    (HERE / "translation.json").write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
