# Quantiles of the finite-sample null distribution of (restricted) likelihood-ratio statistics, by RLRsim.
# Run in this folder's parent: Rscript tests/reference/rlrsim.R
suppressMessages({library(lme4); library(RLRsim); library(jsonlite)})
out <- list(versions = list(R = R.version.string, RLRsim = as.character(packageVersion("RLRsim")),
                            lme4 = as.character(packageVersion("lme4"))), draws = 200000)
read <- function(name) read.csv(file.path("tests/reference/data", paste0(name, ".csv")))
probs <- c(0.6, 0.75, 0.9, 0.95, 0.99)
case <- function(dataset, formula, group, lrt_fixed) {
  data <- read(dataset)
  model <- lmer(as.formula(formula), data, REML = TRUE)
  X <- getME(model, "X"); Z <- t(as.matrix(getME(model, "Ztlist")[[group]]))
  r <- RLRTSim(X, Z, qr(X), diag(ncol(Z)), nsim = 200000, seed = 1)
  l <- LRTSim(X, Z, q = lrt_fixed, diag(ncol(Z)), nsim = 200000, seed = 2)
  list(dataset = dataset, formula = formula, lrt_fixed = lrt_fixed, zero = mean(r < 1e-8),
       rlrt = unname(quantile(r, probs)), lrt = unname(quantile(l, probs)))
}
out$probabilities <- probs
out$cases <- list(
  case("sleepstudy", "Reaction ~ Days + (1 | Subject)", 1, 1),
  case("Dyestuff", "Yield ~ 1 + (1 | Batch)", 1, 0),
  case("Oxboys", "height ~ age + (0 + age | Subject)", 1, 1),
  case("Penicillin", "diameter ~ 1 + (1 | sample) + (1 | plate)", 2, 0)
)
writeLines(toJSON(out, auto_unbox = TRUE, digits = 10, pretty = TRUE), "tests/reference/rlrsim.json")
