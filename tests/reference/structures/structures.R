# Covariance structures of random effects, as nlme and glmmTMB fit them. Run in this folder: Rscript structures.R
# cs: nlme's pdCompSymm. hcs: glmmTMB's cs, which has a variance for each effect. ar1: glmmTMB's ar1.
suppressMessages({library(nlme); library(glmmTMB); library(jsonlite)})

set.seed(20)
persons <- 60; occasions <- 5
cells <- expand.grid(row = 1:2, occ = 1:occasions, person = 1:persons)
R <- 0.7^abs(outer(1:occasions, 1:occasions, "-"))
sd <- c(0.6, 0.8, 1.0, 1.3, 1.1)
b <- matrix(rnorm(persons * occasions), persons) %*% chol(diag(sd) %*% R %*% diag(sd))
cells$x <- round(rnorm(nrow(cells)), 3)
cells$y <- round(1 + 0.5 * cells$x + b[cbind(cells$person, cells$occ)] + rnorm(nrow(cells)), 4)
cells <- cells[runif(nrow(cells)) > 0.25, ]
cells$row <- NULL
write.csv(cells, "occasions.csv", row.names = FALSE, quote = FALSE)

frame <- read.csv("occasions.csv")
frame$occ <- factor(frame$occ); frame$person <- factor(frame$person)
growth <- read.csv("../data/Orthodont.csv")
growth$occ <- factor(growth$age); growth$Subject <- factor(growth$Subject)
growth$Sex <- factor(growth$Sex, levels = c("Male", "Female"))

record <- function(data, formula, reml, logLik, beta, se, cov, sigma, by) {
  list(data = data, formula = formula, reml = reml, fitted_by = by, loglik = as.numeric(logLik),
       beta = unname(beta), se = unname(se), cov = matrix(as.numeric(cov), nrow(cov)), sigma = sigma)
}

from_lme <- function(reml) {
  fit <- lme(y ~ x, random = list(person = pdCompSymm(~ 0 + occ)), data = frame,
             method = if (reml) "REML" else "ML", control = lmeControl(tolerance = 1e-10, msTol = 1e-10, maxIter = 200))
  record("occasions", "y ~ x + cs(0 + occ | person)", reml, logLik(fit), fixef(fit), sqrt(diag(vcov(fit))),
         getVarCov(fit), fit$sigma, "nlme")
}

from_tmb <- function(data, name, formula, ours, reml, group) {
  tight <- glmmTMBControl(optimizer = optim, optArgs = list(method = "BFGS"), optCtrl = list(maxit = 2000, reltol = 1e-15))
  fit <- glmmTMB(formula, data = data, REML = reml, control = tight)
  stopifnot(fit$fit$convergence == 0)
  cov <- VarCorr(fit)$cond[[group]]
  record(name, ours, reml, logLik(fit), fixef(fit)$cond, sqrt(diag(vcov(fit)$cond)),
         matrix(cov, nrow(cov)), sigma(fit), "glmmTMB")
}

fits <- list()
for (reml in c(TRUE, FALSE)) {
  fits <- c(fits, list(
    from_lme(reml),
    from_tmb(frame, "occasions", y ~ x + cs(0 + occ | person), "y ~ x + hcs(0 + occ | person)", reml, "person"),
    from_tmb(frame, "occasions", y ~ x + ar1(0 + occ | person), "y ~ x + ar1(0 + occ | person)", reml, "person"),
    from_tmb(growth, "Orthodont", distance ~ age * Sex + ar1(0 + occ | Subject),
             "distance ~ age * Sex + ar1(0 + C(age) | Subject)", reml, "Subject")))
}
versions <- list(R = R.version.string, nlme = as.character(packageVersion("nlme")),
                 glmmTMB = as.character(packageVersion("glmmTMB")))
write(toJSON(list(versions = versions, fits = fits), digits = 12, auto_unbox = TRUE, pretty = TRUE), "expected.json")
