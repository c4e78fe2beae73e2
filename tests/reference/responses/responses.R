# Regressions of answers without random effects: Rscript responses.R > responses.json
suppressMessages({library(sandwich); library(clubSandwich); library(survival); library(MASS); library(jsonlite)})
tight <- glm.control(epsilon = 1e-15, maxit = 100)
contraception <- read.csv("../data/Contraception.csv")
contraception$y <- as.integer(contraception$use == "Y")
contraception$livch <- factor(contraception$livch)
epil <- read.csv("../data/epil.csv")
epil$trt <- factor(epil$trt)

of_glm <- function(m, cluster) {
  robust <- lapply(c(CR0 = "CR0", CR1 = "CR1", CR1S = "CR1S", CR3 = "CR3"), function(kind) {
    t <- coef_test(m, kind, cluster = cluster)
    list(se = t$SE, df = t$df_Satt)
  })
  rows <- lapply(c(HC0 = "HC0", HC1 = "HC1", HC2 = "HC2", HC3 = "HC3"), function(kind) sqrt(diag(vcovHC(m, kind))))
  list(coef = unname(coef(m)), se = unname(sqrt(diag(vcov(m, dispersion = 1)))), loglik = as.numeric(logLik(m)),
       null = as.numeric(logLik(update(m, . ~ 1))), clubsandwich = robust, vcovHC = lapply(rows, unname))
}
of_clogit <- function(m) list(coef = unname(coef(m)), se = unname(sqrt(diag(vcov(m)))), loglik = m$loglik)

out <- list(
  versions = list(R = as.character(getRversion()), sandwich = as.character(packageVersion("sandwich")),
                  clubSandwich = as.character(packageVersion("clubSandwich")),
                  survival = as.character(packageVersion("survival")), MASS = as.character(packageVersion("MASS"))),
  logit = of_glm(glm(y ~ age + urban + livch, binomial, contraception, control = tight), contraception$district),
  probit = of_glm(glm(y ~ age + urban + livch, binomial("probit"), contraception, control = tight), contraception$district),
  cloglog = of_glm(glm(y ~ age + urban + livch, binomial("cloglog"), contraception, control = tight), contraception$district),
  poisson = of_glm(glm(y ~ lbase * trt + lage, poisson, epil, control = tight), epil$subject),
  clogit = of_clogit(clogit(y ~ age + urban + livch + strata(district), contraception, method = "exact",
                            control = coxph.control(eps = 1e-12, toler.chol = 1e-13, iter.max = 50)))
)
nb <- glm.nb(y ~ lbase * trt + lage, epil, control = tight)
out$nbinom2 <- list(coef = unname(coef(nb)), theta = nb$theta, loglik = as.numeric(logLik(nb)))
ordered <- polr(factor(livch, ordered = TRUE) ~ age + urban, contraception, Hess = TRUE, control = list(reltol = 1e-15))
out$ordinal <- list(coef = unname(coef(ordered)), thresholds = unname(ordered$zeta), se = unname(sqrt(diag(vcov(ordered)))),
                    loglik = as.numeric(logLik(ordered)))
cat(toJSON(out, digits = 15, auto_unbox = TRUE, pretty = TRUE), "\n")
