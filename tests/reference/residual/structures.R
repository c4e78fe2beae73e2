# Residual structures fitted by nlme 3.1-162 and metafor: Rscript structures.R > structures.json, in this folder.
suppressPackageStartupMessages({ library(nlme); library(metafor); library(jsonlite) })
options(contrasts = c("contr.treatment", "contr.poly"))

orthodont <- read.csv("../data/Orthodont.csv")
orthodont$Sex <- factor(orthodont$Sex, levels = c("Male", "Female"))
orthodont$Subject <- factor(orthodont$Subject, levels = unique(orthodont$Subject))
orthodont$visit <- as.integer((orthodont$age - 8) / 2) + 1L
gaps <- orthodont[-c(2, 7, 8, 13, 30, 31, 44, 60, 73, 90, 101), ]
oxboys <- read.csv("../data/Oxboys.csv")
oxboys$Subject <- factor(oxboys$Subject)

lme_control <- lmeControl(maxIter = 500, msMaxIter = 2000, niterEM = 100, tolerance = 1e-11, msTol = 1e-13, opt = "nlminb")
gls_control <- glsControl(maxIter = 500, msMaxIter = 2000, tolerance = 1e-11, msTol = 1e-13)

record <- function(fit, data, rows) {
  fixed <- if (inherits(fit, "lme")) fixef(fit) else coef(fit)
  out <- list(data = data, rows = rows, reml = fit$method == "REML", loglik = as.numeric(logLik(fit)), sigma = fit$sigma,
              fixef = as.list(fixed), se = unname(sqrt(diag(vcov(fit)))))
  if (inherits(fit, "lme")) out$random_sd <- unname(as.numeric(VarCorr(fit)[seq_len(nrow(VarCorr(fit)) - 1), "StdDev"]))
  correlation <- fit$modelStruct$corStruct
  variance <- fit$modelStruct$varStruct
  if (!is.null(correlation)) out$correlation <- unname(coef(correlation, unconstrained = FALSE))
  if (inherits(variance, "varIdent")) out$ratios <- as.list(coef(variance, unconstrained = FALSE, allCoef = TRUE))
  if (inherits(variance, "varPower")) out$power <- unname(coef(variance, unconstrained = FALSE))
  out
}

# nlme stops its own rounds of fitted values early; these go on to where nothing changes.
settled <- function(refit, start) {
  fit <- start
  for (round in 1:200) {
    v <- as.numeric(fitted(fit))
    following <- refit(cbind(orthodont, v = v))
    change <- max(abs(as.numeric(fitted(following)) - v))
    fit <- following
    if (change < 1e-9) break
  }
  stopifnot(change < 1e-7)
  fit
}

out <- list()
dropped <- setdiff(seq_len(nrow(orthodont)), as.integer(rownames(gaps))) - 1
for (method in c("REML", "ML")) {
  key <- function(name) paste(name, tolower(method), sep = "_")
  linear <- distance ~ age * Sex
  out[[key("car1")]] <- record(lme(height ~ age, random = ~ 1 | Subject, correlation = corCAR1(form = ~ age | Subject), data = oxboys,
                                   method = method, control = lme_control), "Oxboys", "all")
  out[[key("ar1_gaps")]] <- record(gls(linear, gaps, corAR1(form = ~ visit | Subject), method = method, control = gls_control), "Orthodont", "gaps")
  out[[key("ar1_by")]] <- record(gls(linear, gaps, corAR1(form = ~ visit | Subject), varIdent(form = ~ 1 | Sex), method = method, control = gls_control), "Orthodont", "gaps")
  out[[key("cs_by")]] <- record(gls(linear, gaps, corCompSymm(form = ~ 1 | Subject), varIdent(form = ~ 1 | Sex), method = method, control = gls_control), "Orthodont", "gaps")
  out[[key("us_gaps")]] <- record(gls(linear, gaps, corSymm(form = ~ visit | Subject), varIdent(form = ~ 1 | age), method = method, control = gls_control), "Orthodont", "gaps")
  out[[key("power")]] <- record(gls(linear, orthodont, weights = varPower(form = ~ age), method = method, control = gls_control), "Orthodont", "all")
  out[[key("power_random")]] <- record(lme(linear, orthodont, ~ 1 | Subject, weights = varPower(form = ~ age), method = method, control = lme_control), "Orthodont", "all")
  out[[key("power_fitted")]] <- record(settled(
    function(d) gls(linear, d, weights = varPower(form = ~ v), method = method, control = gls_control),
    gls(linear, orthodont, weights = varPower(), method = method, control = gls_control)), "Orthodont", "all")
  out[[key("power_fitted_random")]] <- record(settled(
    function(d) lme(linear, d, ~ 1 | Subject, weights = varPower(form = ~ v), method = method, control = lme_control),
    lme(linear, orthodont, ~ 1 | Subject, weights = varPower(), method = method, control = lme_control)), "Orthodont", "all")
  bcg <- escalc(measure = "RR", ai = tpos, bi = tneg, ci = cpos, di = cneg, data = dat.bcg)
  fit <- rma(yi, vi, mods = ~ ablat, data = bcg, method = method, control = list(threshold = 1e-14, maxiter = 10000))
  X <- model.matrix(~ ablat, bcg)
  constant <- if (method == "REML") 0.5 * as.numeric(determinant(crossprod(X))$modulus) else 0  # metafor counts it, nlme does not
  out[[key("known")]] <- list(trial = bcg$trial, yi = as.numeric(bcg$yi), se_yi = sqrt(bcg$vi), ablat = bcg$ablat, reml = method == "REML",
                              loglik = as.numeric(logLik(fit)) - constant, tau2 = fit$tau2, se_tau2 = fit$se.tau2,
                              fixef = as.list(setNames(as.numeric(fit$beta), c("Intercept", "ablat"))), se = fit$se)
}

# H of Raudenbush & Bryk (2002, eq. 9.4) from each school's own regression
hsb <- read.csv("../data/Hsb82.csv", colClasses = c(school = "character"))
h_of <- function(formula) {
  own <- lapply(split(hsb, hsb$school), function(d) lm(formula, d))
  f <- sapply(own, df.residual)
  log_s2 <- log(sapply(own, function(m) summary(m)$sigma^2))
  d <- (log_s2 - sum(f * log_s2) / sum(f)) / sqrt(2 / f)
  list(statistic = sum(d^2), df = length(d) - 1, p = pchisq(sum(d^2), length(d) - 1, lower.tail = FALSE))
}
out$h_slope <- h_of(mAch ~ cses)
out$h_mean <- h_of(mAch ~ 1)
out$dropped <- dropped
cat(toJSON(out, auto_unbox = TRUE, digits = I(15), pretty = TRUE), "\n")
