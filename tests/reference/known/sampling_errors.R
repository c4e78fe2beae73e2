# Meta-analyses of effects whose sampling errors have a known covariance, by metafor.
# Run in this folder: Rscript sampling_errors.R > sampling_errors.json
suppressMessages({library(metafor); library(jsonlite)})
set.seed(20240611)
n_studies <- 16
study <- rep(seq_len(n_studies), times = sample(2:4, n_studies, replace = TRUE))
n <- length(study)
outcome <- unlist(lapply(split(study, study), function(s) sample(c("a", "b", "c", "d"), length(s))))
se <- round(runif(n, 0.1, 0.5), 4)
x <- round(rnorm(n), 4)
same <- outer(study, study, "==")
V <- outer(se, se) * ifelse(same, 0.6, 0)
diag(V) <- se^2
y <- round(0.3 + 0.2 * x + 0.3 * rnorm(n_studies)[study] + c(t(chol(V)) %*% rnorm(n)) + 0.25 * rnorm(n), 5)
data <- data.frame(y, x, study, outcome, effect = sprintf("e%02d", seq_len(n)))
tight <- list(optimizer = "optim", optmethod = "BFGS", reltol = 1e-15, maxit = 1000)
fit <- function(random, method) {
  found <- rma.mv(y, V, mods = ~ x, random = random, data = data, method = method, control = tight, sparse = FALSE)
  X <- cbind(1, x)
  # metafor's restricted likelihood has a factor |X'X|^(1/2)
  constant <- if (method == "REML") c(determinant(crossprod(X))$modulus) else 0
  list(method = tolower(method), terms = length(found$sigma2), sigma2 = as.list(found$sigma2),
       deviance = -2 * c(logLik(found)) + constant, beta = as.list(c(found$beta)),
       vcov = matrix(c(vcov(found)), 2), q = found$QE)
}
cases <- list()
for (method in c("REML", "ML")) {
  cases <- c(cases, list(fit(list(~ 1 | effect), method), fit(list(~ 1 | study, ~ 1 | effect), method)))
}
out <- list(versions = list(R = R.version.string, metafor = as.character(packageVersion("metafor"))),
            data = data, V = V, cases = cases)
cat(toJSON(out, auto_unbox = TRUE, digits = 15, pretty = FALSE), "\n")
