# Precision weights of outcomes that are not normal, by lme4, glm and MASS::gamma.shape. Run in this folder:
# Rscript precision.R > precision.json
suppressMessages({library(lme4); library(MASS); library(jsonlite)})
read <- function(name) read.csv(paste0("../data/", name, ".csv"), na.strings = "")
# without optCtrl$rhoend lme4 stops short of the optimum by 1e-3 of a standard error; non-whole means are warned of
tight <- glmerControl(optimizer = "bobyqa", optCtrl = list(rhoend = 1e-10, maxfun = 1e5), calc.derivs = FALSE,
                      tolPwrss = 1e-13)
mixed <- function(fit) list(coefficients = as.list(fixef(fit)), sd = unname(getME(fit, "theta")),
                            std_error = as.list(sqrt(diag(as.matrix(vcov(fit, use.hessian = TRUE))))),
                            loglik = as.numeric(logLik(fit)))
cbpp <- read("cbpp")
for (name in c("herd", "period")) cbpp[[name]] <- factor(cbpp[[name]])
cbpp$share <- cbpp$incidence / cbpp$size
hess <- tight; hess$calc.derivs <- TRUE
shares <- function(n, ...) glmer(share ~ period + (1 | herd), cbpp, binomial, weights = size, nAGQ = n, control = hess)
ticks <- read("grouseticks")
ticks$one <- 1
broods <- aggregate(cbind(TICKS, one) ~ BROOD + LOCATION + YEAR, ticks, sum)
broods$YEAR <- factor(broods$YEAR)
broods$mean <- broods$TICKS / broods$one
means <- suppressWarnings(glmer(mean ~ YEAR + (1 | LOCATION), broods, poisson, weights = one, nAGQ = 9, control = hess))
totals <- glmer(TICKS ~ YEAR + offset(log(one)) + (1 | LOCATION), broods, poisson, nAGQ = 9, control = hess)
sleep <- read("sleepstudy")
sleep$late <- sleep$Days >= 5
sleep$one <- 1
halves <- aggregate(cbind(Reaction, one) ~ Subject + late, sleep[-c(3, 4, 17, 40, 41, 42, 111), ], sum)
halves$mean <- halves$Reaction / halves$one
gamma <- glm(mean ~ late, Gamma("log"), halves, weights = one, control = glm.control(epsilon = 1e-14, maxit = 100))
shape <- gamma.shape(gamma, it.lim = 100, eps.max = 1e-12)
out <- list(
  versions = list(lme4 = as.character(packageVersion("lme4")), MASS = as.character(packageVersion("MASS"))),
  binomial = list(laplace = mixed(shares(1)), nodes_9 = mixed(shares(9))),
  poisson = list(means = mixed(means), totals = mixed(totals)),
  gamma = list(coefficients = as.list(coef(gamma)), shape = shape$alpha, shape_std_error = shape$SE,
               std_error_times_root_shape = as.list(sqrt(diag(summary(gamma, dispersion = 1)$cov.unscaled))))
)
cat(toJSON(out, digits = 15, auto_unbox = TRUE, pretty = TRUE), "\n")
