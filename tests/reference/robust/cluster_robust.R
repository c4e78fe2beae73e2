# Cluster-robust covariances and tests by clubSandwich and sandwich; writes cluster_robust.json beside this file.
# Run in this folder: Rscript cluster_robust.R
suppressMessages({library(lme4); library(clubSandwich); library(sandwich); library(jsonlite)})
read <- function(name) read.csv(file.path("..", "data", paste0(name, ".csv")), stringsAsFactors = TRUE)
tight <- lmerControl(optimizer = "bobyqa", optCtrl = list(rhoend = 1e-11, maxfun = 1e5), calc.derivs = FALSE)
kinds <- c("CR0", "CR1", "CR1S", "CR2", "CR3")

answers <- function(fit, cluster, joint, types = kinds, ...) {
  b <- if (inherits(fit, "lm")) coef(fit) else fixef(fit)
  b <- b[!is.na(b)]
  out <- lapply(setNames(nm = types), function(type) {
    V <- vcovCR(fit, cluster = cluster, type = type, ...)
    test <- coef_test(fit, V, test = "Satterthwaite")
    wald <- Wald_test(fit, constrain_zero(joint), V, test = c("HTZ", "EDF", "Naive-F"))
    list(se = sqrt(diag(V)), df = test$df, wald = lapply(split(wald, wald$test), function(w)
      list(F = w$Fstat, df_num = w$df_num, df_den = w$df_denom, p = w$p_val)))
  })
  list(names = names(b), coef = unname(b), kinds = out)
}

hsb <- read("Hsb82"); eg <- read("egsingle"); gr <- read("Grunfeld");
w <- 1 + (seq_len(nrow(hsb)) %% 4) / 2
hsb$w <- w / mean(w) # the scale that clubSandwich takes the target variances to have
fit <- list(
  hsb_lmer = lmer(mAch ~ cses * sector + cses * meanses + (cses | school), hsb, control = tight),
  hsb_lm = lm(mAch ~ cses * sector + cses * meanses, hsb),
  hsb_dummies = lm(mAch ~ cses + factor(school), hsb),
  hsb_weighted = lm(mAch ~ cses * sector, hsb, weights = w),
  egsingle = lmer(math ~ year + female + (1 | schoolid / childid), eg, control = tight),
  grunfeld = lm(inv ~ value + capital, gr)
)
out <- list(
  hsb_lmer = answers(fit$hsb_lmer, hsb$school, 4:6),
  hsb_lm = answers(fit$hsb_lm, hsb$school, 4:6),
  hsb_weighted = answers(fit$hsb_weighted, hsb$school, 2:4, c("CR0", "CR1", "CR3"), target = 1 / hsb$w, inverse_var = TRUE),
  egsingle = answers(fit$egsingle, eg$schoolid, 2:3, c("CR0", "CR2", "CR3"))
)
V <- vcovCR(fit$hsb_dummies, cluster = hsb$school, type = "CR2")
out$hsb_dummies <- list(se = sqrt(V[2, 2]), df = coef_test(fit$hsb_dummies, V, coefs = "cses", test = "Satterthwaite")$df)
two <- function(type, cadjust) sqrt(diag(vcovCL(fit$grunfeld, cluster = ~ firm + year, type = type, cadjust = cadjust))) # HC2, HC3 are divided by what cadjust multiplies with
out$grunfeld_two_ways <- list(names = names(coef(fit$grunfeld)), CR0 = two("HC0", FALSE), CR1 = two("HC0", TRUE),
  CR1S = two("HC1", TRUE), CR2 = two("HC2", TRUE), CR3 = two("HC3", TRUE))
out$versions <- lapply(setNames(nm = c("clubSandwich", "sandwich", "lme4")), function(p) as.character(packageVersion(p)))
write_json(out, "cluster_robust.json", digits = NA, auto_unbox = TRUE, pretty = TRUE)
