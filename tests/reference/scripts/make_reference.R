#!/usr/bin/env Rscript
# make_reference.R -- builds data/*.csv and expected/*.json.
# Usage:  Rscript make_reference.R [section ...]
#   sections: lmm hsb big nlme glmm verbagg tmb other readme   (default: all)
args <- commandArgs(TRUE); here <- Sys.getenv("REF_ROOT", ".")
SECTIONS <- if (length(args)) args else c("lmm","hsb","big","nlme","glmm","verbagg","tmb","other","readme")
source(file.path(here, "fixture_lib.R"))
el <- function(e) attr(e, "elapsed")
lrt <- function(small, big, refit = FALSE) tab(anova(small, big, refit = refit))

# ------------------------------------------------------------------- data ----
load_data <- function() {
  g <- function(n, p) { e <- new.env(); data(list = n, package = p, envir = e); e[[n]] }
  put_data("sleepstudy", transform(g("sleepstudy","lme4"), w = rep(c(1, 2, 0.5, 1.5), length.out = 180)),
           source = "Belenky et al. 2003; lme4 (column w = made-up prior weights)")
  for (n in c("Dyestuff","Dyestuff2","Penicillin","Pastes","grouseticks","VerbAgg","InstEval","cbpp"))
    put_data(n, g(n, "lme4"), source = paste0("lme4::", n))
  put_data("cake", g("cake","lme4"), keep_ordered = "temperature", source = "lme4::cake")
  h <- g("Hsb82","mlmRev"); h$rowid <- NULL
  put_data("Hsb82", h, source = "mlmRev::Hsb82")
  for (n in c("Exam","Contraception","egsingle")) put_data(n, g(n, "mlmRev"), source = paste0("mlmRev::", n))
  for (n in c("Oxboys","Orthodont")) put_data(n, as.data.frame(g(n, "nlme")), source = paste0("nlme::", n))
  put_data("epil", transform(g("epil","MASS"), subject = factor(subject), obs = factor(seq_along(y))), source = "MASS::epil")
  put_data("wine", g("wine","ordinal"), source = "ordinal::wine")
  put_data("Grunfeld", within(g("Grunfeld","plm"), { value_m <- ave(value, firm); capital_m <- ave(capital, firm) }),
           source = "plm::Grunfeld (+ firm means value_m, capital_m)")
  put_data("Crime", g("Crime","plm"), source = "plm::Crime")
  w <- g("Wages","plm"); w <- cbind(id = rep(1:595, each = 7), time = rep(1:7, 595), w)
  w$expsq <- w$exp^2
  for (v in c("wks","exp","expsq")) w[[paste0(v, "_m")]] <- ave(w[[v]], w$id)
  w$union_m <- ave(as.numeric(w$union == "yes"), w$id); w$married_m <- ave(as.numeric(w$married == "yes"), w$id)
  put_data("Wages", w, source = "plm::Wages (+ id, time, expsq, person means *_m)")
}
set_root(here, SECTIONS[1]); suppressMessages(load_data())
run <- function(s) { on <- s %in% SECTIONS; if (on) { SECTION <<- s; unlink(file.path(here, "log", paste0("index_", s, ".tsv"))) }; on }
CR <- c("CR0","CR1","CR2")

# ------------------------------------------------------------ linear: small ----
if (run("lmm")) {
  nd <- data.frame(Days = c(0, 5, 12), Subject = c("308", "309", "999"))
  S <- list(ri = Reaction ~ Days + (1 | Subject), rs = Reaction ~ Days + (Days | Subject),
            uncorr = Reaction ~ Days + (Days || Subject))
  fits <- list()
  for (m in names(S)) for (r in c(TRUE, FALSE)) {
    k <- paste0(m, if (r) "_reml" else "_ml"); f <- fits[[k]] <- fit_lmer(S[[m]], "sleepstudy", r)
    lmm_json("sleepstudy", k, f, deparse1(S[[m]]), kr = r, profile = TRUE, newdata = nd,
             club = if (k == "rs_reml" || k == "ri_reml") CR)
  }
  f <- fit_lmer(S$rs, "sleepstudy", TRUE, extra = list(weights = quote(w)))
  lmm_json("sleepstudy", "rs_weighted_reml", f, "Reaction ~ Days + (Days | Subject), weights = w", infl = TRUE)
  put_json("sleepstudy", "tests", list(
    lrt_ml_ri_vs_rs = lrt(fits$ri_ml, fits$rs_ml), lrt_ml_uncorr_vs_rs = lrt(fits$uncorr_ml, fits$rs_ml),
    lrt_reml_ri_vs_rs = lrt(fits$ri_reml, fits$rs_reml), lrt_reml_uncorr_vs_rs = lrt(fits$uncorr_reml, fits$rs_reml),
    ranova_rs_reml = tab(lmerTest::ranova(as_lmerModLmerTest(fits$rs_reml))),
    ranova_ri_reml = tab(lmerTest::ranova(as_lmerModLmerTest(fits$ri_reml))),
    drop1_ml_rs = tab(drop1(fits$rs_ml, test = "Chisq"))), "Reaction ~ Days + ...", "anova.merMod; lmerTest::ranova; drop1", NA)

  for (n in c("Dyestuff", "Dyestuff2")) for (r in c(TRUE, FALSE))
    lmm_json(n, if (r) "ri_reml" else "ri_ml", fit_lmer(Yield ~ 1 + (1 | Batch), n, r), kr = r, profile = TRUE,
             newdata = data.frame(Batch = c("A", "F", "Z")))
  for (r in c(TRUE, FALSE)) { k <- if (r) "reml" else "ml"
    lmm_json("Penicillin", paste0("crossed_", k), fit_lmer(diameter ~ 1 + (1 | plate) + (1 | sample), "Penicillin", r), kr = r, profile = TRUE,
             newdata = data.frame(plate = c("a", "b", "zz"), sample = c("A", "zz", "F")))
    lmm_json("Pastes", paste0("nested_", k), fit_lmer(strength ~ 1 + (1 | batch/cask), "Pastes", r), kr = r, profile = TRUE)
    lmm_json("Pastes", paste0("nested_explicit_", k), fit_lmer(strength ~ 1 + (1 | sample) + (1 | batch), "Pastes", r), kr = r)
    lmm_json("cake", paste0("interaction_poly_", k), fit_lmer(angle ~ recipe * temperature + (1 | recipe:replicate), "cake", r), kr = r,
             notes = "temperature is an ORDERED factor: contr.poly columns .L .Q .C ^4 ^5; recipe is treatment coded")
    lmm_json("cake", paste0("threelevel_", k), fit_lmer(angle ~ recipe + temp + (1 | replicate/recipe), "cake", r), kr = r, profile = r)
    lmm_json("Oxboys", paste0("growth_", k), fit_lmer(height ~ age + (age | Subject), "Oxboys", r), kr = r, profile = r, newdata = data.frame(age = c(-1, 0, 1), Subject = c("1", "2", "x")))
    lmm_json("Oxboys", paste0("quadratic_", k), fit_lmer(height ~ age + I(age^2) + (age + I(age^2) | Subject), "Oxboys", r), kr = r)
    lmm_json("Orthodont", paste0("growth_", k), fit_lmer(distance ~ age * Sex + (age | Subject), "Orthodont", r), kr = r, profile = FALSE, club = if (r) CR)
  }
  ex <- list(ri = normexam ~ standLRT + (1 | school), rs = normexam ~ standLRT + (standLRT | school),
    rs_sex_schgend = normexam ~ standLRT + sex + schgend + (standLRT | school),
    crosslevel = normexam ~ standLRT * schavg + sex + (standLRT | school))
  fe <- list()
  for (m in names(ex)) for (r in c(TRUE, FALSE)) { k <- paste0(m, if (r) "_reml" else "_ml")
    fe[[k]] <- fit_lmer(ex[[m]], "Exam", r)
    lmm_json("Exam", k, fe[[k]], newdata = data.frame(standLRT = c(-1, 0, 2), sex = c("F", "M", "F"), schgend = c("mixed", "boys", "girls"),
      schavg = c(-.5, 0, .5), school = c("1", "2", "999")), club = if (k == "rs_reml") CR) }
  put_json("Exam", "tests", list(lrt_ml_ri_vs_rs = lrt(fe$ri_ml, fe$rs_ml), lrt_reml_ri_vs_rs = lrt(fe$ri_reml, fe$rs_reml),
    lrt_ml_rs_vs_rs_sex_schgend = lrt(fe$rs_ml, fe$rs_sex_schgend_ml),
    ranova_rs_reml = tab(lmerTest::ranova(as_lmerModLmerTest(fe$rs_reml)))), "normexam ~ standLRT ...", "anova.merMod; lmerTest::ranova", NA)
  eg <- list(null = math ~ 1 + (1 | childid) + (1 | schoolid), growth = math ~ year + (year | childid) + (year | schoolid),
             growth_size = math ~ year * size + (year | childid) + (year | schoolid))
  for (m in names(eg)) for (r in c(TRUE, FALSE))
    lmm_json("egsingle", paste0(m, if (r) "_reml" else "_ml"), fit_lmer(eg[[m]], "egsingle", r), infl = FALSE, devgrid = TRUE, satt = r)
}

# ------------------------------------------------------------ linear: Hsb82 ----
if (run("hsb")) {
  M <- list(null = mAch ~ 1 + (1 | school), means_as_outcomes = mAch ~ meanses + (1 | school),
    means_as_outcomes2 = mAch ~ meanses + sector + (1 | school), ancova = mAch ~ cses + (1 | school),
    random_coef = mAch ~ cses + (cses | school), random_coef_uncorr = mAch ~ cses + (cses || school),
    slopes_as_outcomes = mAch ~ cses * sector + meanses * cses + (cses | school),
    slopes_as_outcomes_ri = mAch ~ cses * sector + meanses * cses + (1 | school))
  H <- list()
  for (m in names(M)) for (r in c(TRUE, FALSE)) { k <- paste0(m, if (r) "_reml" else "_ml")
    H[[k]] <- fit_lmer(M[[m]], "Hsb82", r)
    lmm_json("Hsb82", k, H[[k]], deparse1(M[[m]]), newdata = data.frame(cses = c(-1, 0, 1), meanses = c(0, .5, -.5),
      sector = c("Public", "Catholic", "Public"), school = c("1224", "1288", "999999")), club = if (k %in% c("random_coef_reml", "slopes_as_outcomes_reml", "slopes_as_outcomes_ri_reml")) CR)
  }
  put_json("Hsb82", "tests", list(
    lrt_ml_ancova_vs_random_coef = lrt(H$ancova_ml, H$random_coef_ml), lrt_reml_ancova_vs_random_coef = lrt(H$ancova_reml, H$random_coef_reml),
    lrt_ml_random_coef_vs_slopes_as_outcomes = lrt(H$random_coef_ml, H$slopes_as_outcomes_ml),
    lrt_reml_slopes_ri_vs_rs = lrt(H$slopes_as_outcomes_ri_reml, H$slopes_as_outcomes_reml),
    ranova_random_coef_reml = tab(lmerTest::ranova(as_lmerModLmerTest(H$random_coef_reml))),
    ranova_slopes_as_outcomes_reml = tab(lmerTest::ranova(as_lmerModLmerTest(H$slopes_as_outcomes_reml)))),
    "mAch ~ ...", "anova.merMod; lmerTest::ranova", NA)
  # emmeans / emtrends of the cross-level interaction model
  suppressMessages(library(emmeans)); emm_options(lmerTest.limit = 1e5, pbkrtest.limit = 10)
  f <- H$slopes_as_outcomes_reml; f <- as_lmerModLmerTest(f); E <- list()
  for (d in c("asymptotic", "satterthwaite")) {
    E[[d]] <- safe({
      tr <- emtrends(f, ~ sector, var = "cses", lmer.df = d)
      em <- emmeans(f, ~ sector | cses, at = list(cses = c(-1, 0, 1)), lmer.df = d)
      list(emtrends_cses_by_sector = tab(summary(tr)), emtrends_pairs = tab(summary(pairs(tr))),
           emtrends_sector_meanses = tab(summary(emtrends(f, ~ sector + meanses, var = "cses", at = list(meanses = c(-.5, 0, .5)), lmer.df = d))),
           emmeans_sector_by_cses = tab(summary(em)), emmeans_pairs = tab(summary(pairs(em))))
    }) }
  E$note <- "meanses (and cses for emmeans without at) held at the mean over the 7185 rows; 95% CI; asymptotic: df = Inf shown as \"Inf\""
  E$means <- list(meanses = mean(Hsb82$meanses), cses = mean(Hsb82$cses))
  fix <- function(x) if (is.list(x)) lapply(x, fix) else if (is.numeric(x) && length(x) == 1 && is.infinite(x)) "Inf" else x
  put_json("Hsb82", "emmeans_crosslevel", fix(E), deparse1(M$slopes_as_outcomes), "emmeans::emtrends, emmeans::emmeans, pairs", NA)

  # OLS and cluster-robust covariance
  O <- list(ols_simple = mAch ~ cses, ols_crosslevel = mAch ~ cses * sector + meanses * cses)
  for (m in names(O)) { t0 <- system.time(f <- lm(O[[m]], data = Hsb82))[["elapsed"]]; b <- coef(f)
    tt <- system.time(cl <- club_json(f, c("CR0","CR1","CR1p","CR1S","CR2","CR3"), cluster = Hsb82$school))[["elapsed"]]
    vl <- list(); for (ty in c("HC0","HC1","HC2","HC3")) for (ca in c(TRUE, FALSE))
      vl[[paste0(ty, if (ca) "_cadjust" else "_nocadjust")]] <- safe(mat(sandwich::vcovCL(f, cluster = Hsb82$school, type = ty, cadjust = ca)))
    vh <- lapply(setNames(nm = c("HC0","HC1","HC2","HC3","HC4")), function(ty) mat(sandwich::vcovHC(f, type = ty)))
    put_json("Hsb82", m, list(formula = deparse1(O[[m]]), nobs = nobs(f), ngroups = list(school = 160), npar = length(b) + 1,
      loglik = as.numeric(logLik(f)), neg2loglik = -2*as.numeric(logLik(f)), aic = AIC(f), bic = BIC(f), coef_names = I(names(b)), fixef = nl(b), se = nl(sqrt(diag(vcov(f)))),
      vcov = mat(vcov(f)), sigma = sigma(f), r_squared = summary(f)$r.squared, clubsandwich = cl, vcovCL = vl, vcovHC = vh,
      notes = "CR1 = G/(G-1); CR1p = G/(G-p); CR1S = Stata: G(N-1)/((G-1)(N-p)) [= vcovCL HC1 cadjust]; p = number of coefficients",
      seconds_clubsandwich = tt), deparse1(O[[m]]), "lm; clubSandwich::vcovCR/coef_test; sandwich::vcovCL/vcovHC", t0)
    # one-way ANOVA of the OLS residuals by school, school dummies, and F test for schools
    r <- data.frame(e = resid(f), school = Hsb82$school); a <- anova(lm(e ~ school, r))
    n <- table(r$school); n0 <- (sum(n) - sum(n^2)/sum(n))/(length(n) - 1)
    put_json("Hsb82", paste0(m, "_residual_anova"), list(anova = tab(a), icc_anova = (a[1,3]-a[2,3])/(a[1,3]+(n0-1)*a[2,3]), n0 = n0,
      icc_definition = "(MSB-MSW)/(MSB+(n0-1)MSW), n0=(N-sum n^2/N)/(G-1)",
      kruskal = htest_json(kruskal.test(e ~ school, r)), bartlett = htest_json(bartlett.test(e ~ school, r))), "resid(OLS) ~ school", "anova(lm(resid ~ school))", NA)
  }
  # two-step (Lewis & Linzer 2005, Political Analysis 13:345-364)
  t0 <- system.time({
    sch <- split(Hsb82, Hsb82$school); s1 <- lapply(sch, function(d) { l <- lm(mAch ~ cses, d)
      c(coef(l)[[1]], coef(l)[[2]], sqrt(diag(vcov(l))), nrow(d), sigma(l)) })
    s1 <- as.data.frame(do.call(rbind, s1)); names(s1) <- c("intercept","slope","se_intercept","se_slope","n","sigma")
    s1 <- data.frame(school = names(sch), s1, meanses = sapply(sch, function(d) d$meanses[1]),
                     sector = factor(sapply(sch, function(d) as.character(d$sector[1])), levels = c("Public","Catholic")))
  })[["elapsed"]]
  two_step <- function(yname, sename) {
    y <- s1[[yname]]; w2 <- s1[[sename]]^2; X <- model.matrix(~ sector + meanses, s1); N <- nrow(X); k <- ncol(X)
    o <- lm.fit(X, y); e <- o$residuals; XtXi <- solve(crossprod(X)); G <- w2
    raw <- (sum(e^2) - sum(w2) + sum(diag(XtXi %*% crossprod(X, X*G))))/(N - k); s2 <- max(raw, 0)
    w <- 1/(w2 + s2); fg <- lm(y ~ sector + meanses, s1, weights = w, x = TRUE)
    ols <- lm(y ~ sector + meanses, s1); wls <- lm(y ~ sector + meanses, s1, weights = 1/w2)
    L <- function(f) list(coef = nl(coef(f)), se = nl(sqrt(diag(vcov(f)))), vcov = mat(vcov(f)), sigma = sigma(f),
       se_hc0 = I(as.numeric(sqrt(diag(sandwich::vcovHC(f, "HC0"))))), se_hc2 = I(as.numeric(sqrt(diag(sandwich::vcovHC(f, "HC2"))))), se_hc3 = I(as.numeric(sqrt(diag(sandwich::vcovHC(f, "HC3"))))))
    list(N = N, k = k, sum_e2 = sum(e^2), sum_omega2 = sum(w2), sigma2_raw = raw, sigma2_hat = s2,
      fgls = c(L(fg), list(vcov_unscaled = mat(solve(crossprod(X, X*w))), se_unscaled = nl(sqrt(diag(solve(crossprod(X, X*w))))))),
      ols = L(ols), wls_inverse_sampling_variance = L(wls),
      note = "fgls se/vcov: weighted least squares with residual-variance scaling (lm(weights=)); vcov_unscaled = (X'WX)^-1, W = 1/(omega_i^2+sigma2_hat)") }
  put_json("Hsb82", "two_step_lewis_linzer", list(formula = "step 1 per school: mAch ~ cses; step 2: slope (or intercept) ~ sector + meanses",
    step1_first10 = tab(head(s1, 10)), step1 = lapply(split(s1, factor(s1$school, levels = s1$school)), function(r) list(intercept = r$intercept, slope = r$slope, se_intercept = r$se_intercept, se_slope = r$se_slope, n = r$n)),
    slope = two_step("slope", "se_slope"), intercept = two_step("intercept", "se_intercept")), "two-step", "own R code after Lewis & Linzer 2005", t0)
}

# ------------------------------------------------------------ linear: big ----
if (run("big")) for (r in c(FALSE, TRUE)) {
  f <- fit_lmer(y ~ service + (1 | s) + (1 | d) + (1 | dept:service), "InstEval", r, polish = FALSE, time_default = TRUE)
  lmm_json("InstEval", if (r) "crossed_reml" else "crossed_ml", f, satt = FALSE, infl = FALSE, perf = FALSE, devgrid = FALSE,
    newdata = data.frame(service = c("0", "1"), s = c("1", "99999"), d = c("1", "6"), dept = c("15", "5")))
}

# ------------------------------------------------------------------- nlme ----
if (run("nlme")) {
  lc <- lmeControl(msMaxIter = 500, maxIter = 500, tolerance = 1e-10, msTol = 1e-10, niterEM = 50, opt = "nlminb", msMaxEval = 2000)
  go <- function(n, m, ex, ...) { e <- substitute(ex); t <- system.time(f <- safe(eval(e, globalenv())))[["elapsed"]]
    if (!is.null(f)) lme_json(n, m, f, t, ...); invisible(f) }
  lc <<- lc
  for (meth in c("REML", "ML")) { METH <<- meth; s <- paste0("_", tolower(meth))
    a <- go("Orthodont", paste0("ri", s), lme(distance ~ age * Sex, random = ~ 1 | Subject, data = Orthodont, method = METH, control = lc))
    b <- go("Orthodont", paste0("varident_sex", s), lme(distance ~ age * Sex, random = ~ 1 | Subject, weights = varIdent(form = ~ 1 | Sex), data = Orthodont, method = METH, control = lc))
    go("Orthodont", paste0("rs_varident_sex", s), lme(distance ~ age * Sex, random = ~ age | Subject, weights = varIdent(form = ~ 1 | Sex), data = Orthodont, method = METH, control = lc))
    d <- go("Orthodont", paste0("corar1", s), lme(distance ~ age * Sex, random = ~ 1 | Subject, correlation = corAR1(form = ~ 1 | Subject), data = Orthodont, method = METH, control = lc))
    go("Orthodont", paste0("gls_cs", s), gls(distance ~ age * Sex, correlation = corCompSymm(form = ~ 1 | Subject), data = Orthodont, method = METH))
    go("Orthodont", paste0("gls_ar1", s), gls(distance ~ age * Sex, correlation = corAR1(form = ~ 1 | Subject), data = Orthodont, method = METH))
    go("Orthodont", paste0("gls_un_varident", s), gls(distance ~ age * Sex, correlation = corSymm(form = ~ 1 | Subject), weights = varIdent(form = ~ 1 | age), data = Orthodont, method = METH))
    put_json("Orthodont", paste0("tests_nlme", s), list(ri_vs_varident = tab(as.data.frame(anova(a, b))[, -1]), ri_vs_corar1 = tab(as.data.frame(anova(a, d))[, -1])), "", "anova.lme", NA)
    h1 <- go("Hsb82", paste0("lme_hom", s), lme(mAch ~ cses * sector + meanses * cses, random = ~ cses | school, data = Hsb82, method = METH, control = lc))
    h2 <- go("Hsb82", paste0("lme_varident_sector", s), lme(mAch ~ cses * sector + meanses * cses, random = ~ cses | school, weights = varIdent(form = ~ 1 | sector), data = Hsb82, method = METH, control = lc))
    h3 <- go("Hsb82", paste0("lme_ri_varident_sector", s), lme(mAch ~ cses + sector, random = ~ 1 | school, weights = varIdent(form = ~ 1 | sector), data = Hsb82, method = METH, control = lc))
    put_json("Hsb82", paste0("tests_nlme", s), list(hom_vs_varident_sector = tab(as.data.frame(anova(h1, h2))[, -1])), "", "anova.lme", NA)
  }
}

# ------------------------------------------------------------- generalized ----
if (run("glmm")) {
  for (q in c(1L, 9L, 25L)) {
    f <- fit_glmer(cbind(incidence, size - incidence) ~ period + (1 | herd), "cbpp", binomial, q)
    ex <- with(cbpp, exact_loglik_1d(incidence, size, as.numeric(model.matrix(~ period) %*% fixef(f)), herd, getME(f, "theta")))
    glmm_json("cbpp", if (q == 1) "laplace" else paste0("agq", q), f, profile = q == 1,
      newdata = data.frame(period = c("1", "4", "2"), herd = c("1", "2", "99")), extra = list(loglik_exact_at_fit = ex,
      loglik_note = "lme4's logLik with nAGQ > 1 leaves out constants (not comparable with Laplace); loglik_exact_at_fit is the full log-likelihood (61-node adaptive quadrature, own code) at the fitted parameters"))
  }
  C <- list(ri = use ~ age + I(age^2) + urban + livch + (1 | district), rs_urban = use ~ age + I(age^2) + urban + livch + (urban | district))
  FC <- list()
  for (m in names(C)) { FC[[m]] <- f <- fit_glmer(C[[m]], "Contraception", binomial)
    glmm_json("Contraception", paste0(m, "_laplace"), f, newdata = data.frame(age = c(0, 5), urban = c("Y", "N"), livch = c("1", "3+"), district = c("1", "999"))) }
  put_json("Contraception", "tests", list(lrt_ri_vs_rs = tab(anova(FC$ri, FC$rs_urban))), "", "anova.merMod", NA)
  f <- fit_glmer(C$ri, "Contraception", binomial, 15L)
  ex <- exact_loglik_1d(as.numeric(Contraception$use == "Y"), rep(1, nrow(Contraception)), as.numeric(getME(f, "X") %*% fixef(f)), Contraception$district, getME(f, "theta"))
  glmm_json("Contraception", "ri_agq15", f, extra = list(loglik_exact_at_fit = ex))
  f <- fit_glmer(C$ri, "Contraception", quote(binomial("probit")))
  glmm_json("Contraception", "ri_probit_laplace", f)
  f <- fit_glmer(TICKS ~ YEAR + cHEIGHT + (1 | BROOD) + (1 | INDEX) + (1 | LOCATION), "grouseticks", poisson)
  glmm_json("grouseticks", "poisson_three_laplace", f)
  f <- fit_glmer(y ~ lbase * trt + lage + V4 + (1 | subject), "epil", poisson)
  glmm_json("epil", "poisson_ri_laplace", f, profile = FALSE)
  f <- fit_glmer(y ~ lbase * trt + lage + V4 + (1 | subject), "epil", poisson, 25L)
  ex <- exact_loglik_1d(epil$y, rep(1, nrow(epil)), as.numeric(getME(f, "X") %*% fixef(f)), epil$subject, getME(f, "theta"), "poisson")
  glmm_json("epil", "poisson_ri_agq25", f, extra = list(loglik_exact_at_fit = ex))
  f <- fit_glmer(y ~ lbase * trt + lage + V4 + (1 | subject) + (1 | obs), "epil", poisson)
  glmm_json("epil", "poisson_olre_laplace", f)
  f <- fit_glmer(Reaction ~ Days + (1 | Subject), "sleepstudy", quote(Gamma("log")))
  glmm_json("sleepstudy", "gamma_log_ri_laplace", f, notes = "glmer's Gamma: sigma = sqrt(pwrss/n)-type scale inside the likelihood; glmmTMB's ML estimate (gamma_tmb_ri) is the cleaner target")
}
if (run("verbagg")) {
  f <- fit_glmer(r2 ~ Anger + Gender + btype + situ + mode + (1 | id) + (1 | item), "VerbAgg", binomial, polish = FALSE)
  glmm_json("VerbAgg", "crossed_laplace", f, infl = FALSE)
}
if (run("tmb")) {
  suppressMessages(library(glmmTMB)); TC <<- glmmTMBControl(optCtrl = list(iter.max = 2000, eval.max = 4000, rel.tol = 1e-14, x.tol = 1e-12))
  go <- function(n, m, ex, ...) { e <- substitute(ex); t <- system.time(f <- safe(eval(e, globalenv())))[["elapsed"]]; if (!is.null(f)) tmb_json(n, m, f, t, ...); invisible(f) }
  go("epil", "nbinom2_tmb", glmmTMB(y ~ lbase * trt + lage + V4 + (1 | subject), epil, family = nbinom2, control = TC))
  go("epil", "nbinom1_tmb", glmmTMB(y ~ lbase * trt + lage + V4 + (1 | subject), epil, family = nbinom1, control = TC))
  go("epil", "poisson_tmb", glmmTMB(y ~ lbase * trt + lage + V4 + (1 | subject), epil, family = poisson, control = TC))
  go("epil", "zip_tmb", glmmTMB(y ~ lbase * trt + lage + V4 + (1 | subject), ziformula = ~ 1, epil, family = poisson, control = TC))
  go("grouseticks", "nbinom2_tmb", glmmTMB(TICKS ~ YEAR + cHEIGHT + (1 | BROOD) + (1 | LOCATION), grouseticks, family = nbinom2, control = TC))
  go("grouseticks", "poisson_three_tmb", glmmTMB(TICKS ~ YEAR + cHEIGHT + (1 | BROOD) + (1 | INDEX) + (1 | LOCATION), grouseticks, family = poisson, control = TC))
  go("sleepstudy", "gamma_tmb_ri", glmmTMB(Reaction ~ Days + (1 | Subject), sleepstudy, family = Gamma("log"), control = TC))
  go("sleepstudy", "gamma_tmb_rs", glmmTMB(Reaction ~ Days + (Days | Subject), sleepstudy, family = Gamma("log"), control = TC))
  go("sleepstudy", "gaussian_tmb_rs", glmmTMB(Reaction ~ Days + (Days | Subject), sleepstudy, control = TC))
  go("cbpp", "binomial_tmb", glmmTMB(cbind(incidence, size - incidence) ~ period + (1 | herd), cbpp, family = binomial, control = TC))
  go("cbpp", "betabinomial_tmb", glmmTMB(cbind(incidence, size - incidence) ~ period + (1 | herd), cbpp, family = betabinomial, control = TC), notes = "random-effect variance is ~0 next to the beta-binomial dispersion (boundary)")
  go("Contraception", "rs_urban_tmb", glmmTMB(use ~ age + I(age^2) + urban + livch + (urban | district), Contraception, family = binomial, control = TC))
  # ordinal
  suppressMessages(library(ordinal))
  clm_json <- function(n, m, f, t, nagq) { b <- coef(f); V <- vcov(f); ll <- logLik(f); vn <- rownames(V)
    put_json(n, m, list(formula = deparse1(formula(f)), link = f$link, nagq = nagq, nobs = f$dims$nobs, npar = attr(ll, "df"), loglik = as.numeric(ll), neg2loglik = -2*as.numeric(ll), aic = AIC(f), bic = BIC(f),
      thresholds = nl(f$alpha), fixef = nl(f$beta), coef_names = I(vn), se = nl(setNames(sqrt(diag(V)), vn)), vcov = mat(V),
      varcorr = lapply(VarCorr(f), function(m) list(names = I(colnames(m)), cov = mat(m), sd = I(as.numeric(attr(m, "stddev"))))),
      ranef = lapply(ordinal::ranef(f), function(r) setNames(lapply(seq_len(nrow(r)), function(i) nl(unlist(r[i, , drop = FALSE]))), rownames(r))),
      max_grad = max(abs(f$gradient)), notes = "logit P(Y<=k) = threshold_k - x'b - u; thresholds first in vcov"), deparse1(formula(f)), sprintf("ordinal::clmm(link=%s, nAGQ=%d)", f$link, nagq), t) }
  cc <- clmm.control(gradTol = 1e-7, innerCtrl = "noWarn"); cc <<- cc
  for (q in c(1L, 10L)) { t <- system.time(f <- clmm(rating ~ temp + contact + (1 | judge), data = wine, nAGQ = q, Hess = TRUE, control = cc))[["elapsed"]]; clm_json("wine", if (q == 1) "clmm_logit_laplace" else "clmm_logit_agq10", f, t, q) }
  t <- system.time(f <- clmm(rating ~ temp + contact + (1 | judge), data = wine, link = "probit", Hess = TRUE, control = cc))[["elapsed"]]; clm_json("wine", "clmm_probit_laplace", f, t, 1L)
  t <- system.time(f <- clmm(rating ~ temp + contact + (1 | judge) + (1 | bottle), data = wine, Hess = TRUE, control = cc))[["elapsed"]]; clm_json("wine", "clmm_logit_two_laplace", f, t, 1L)
  t <- system.time(f <- clm(rating ~ temp + contact, data = wine))[["elapsed"]]
  put_json("wine", "clm_logit", list(formula = "rating ~ temp + contact", npar = attr(logLik(f), "df"), loglik = as.numeric(logLik(f)), neg2loglik = -2*as.numeric(logLik(f)), aic = AIC(f), thresholds = nl(f$alpha), fixef = nl(f$beta), vcov = mat(vcov(f))), "rating ~ temp + contact", "ordinal::clm", t)
}

# ------------------------------------------------------- panel estimators ----
if (run("other")) {
  suppressMessages(library(plm))
  P <- function(n, m, f, d, ...) { t <- system.time(z <- safe(plm(f, data = d, ...)))[["elapsed"]]; if (!is.null(z)) { plm_json(n, m, z, t) }; invisible(z) }
  panel <- function(n, f, idx, mund = NULL) {
    d <- pdata.frame(get(n), index = idx); Z <- list()
    Z$pooling <- P(n, "pooling", f, d, model = "pooling"); Z$within <- P(n, "within", f, d, model = "within")
    Z$between <- P(n, "between", f, d, model = "between"); Z$fd <- P(n, "first_difference", f, d, model = "fd")
    Z$twoways <- P(n, "within_twoways", f, d, model = "within", effect = "twoways")
    for (rm in c("swar", "amemiya", "walhus", "nerlove")) Z[[rm]] <- P(n, paste0("random_", rm), f, d, model = "random", random.method = rm)
    T <- list(hausman_within_random_swar = safe(htest_json(phtest(Z$within, Z$swar))),
      hausman_aux_hc = safe(htest_json(phtest(f, data = d, method = "aux", vcov = function(x) vcovHC(x, method = "white2", type = "HC0")))),
      hausman_aux = safe(htest_json(phtest(f, data = d, method = "aux"))),
      f_test_individual_effects = safe(htest_json(pFtest(Z$within, Z$pooling))),
      lm_breusch_pagan = safe(htest_json(plmtest(Z$pooling, type = "bp"))), lm_honda = safe(htest_json(plmtest(Z$pooling, type = "honda"))),
      wooldridge_serial = safe(htest_json(pwartest(Z$within))))
    put_json(n, "panel_tests", c(list(formula = deparse1(f)), T[!vapply(T, is.null, NA)]), deparse1(f), "plm::phtest, pFtest, plmtest, pwartest", NA)
    if (!is.null(mund)) {
      z <- P(n, "mundlak_random", mund, d, model = "random"); P(n, "mundlak_pooling", mund, d, model = "pooling") }
  }
  panel("Grunfeld", inv ~ value + capital, c("firm", "year"), inv ~ value + capital + value_m + capital_m)
  panel("Crime", lcrmrte ~ lprbarr + lpolpc + lprbconv + lprbpris + lavgsen + ldensity + lwcon, c("county", "year"))
  panel("Wages", lwage ~ wks + exp + expsq + union + married, c("id", "time"), lwage ~ wks + exp + expsq + union + married + wks_m + exp_m + expsq_m + union_m + married_m)
  d <- pdata.frame(Wages, index = c("id", "time"))
  HT <- lwage ~ wks + south + smsa + married + exp + expsq + bluecol + ind + union + sex + black + ed |
        bluecol + south + smsa + ind + sex + black | wks + married + union + exp + expsq
  for (im in c(hausman_taylor = "baltagi", amemiya_macurdy = "am", breusch_mizon_schmidt = "bms")) {
    nm <- names(which(c(hausman_taylor = "baltagi", amemiya_macurdy = "am", breusch_mizon_schmidt = "bms") == im))
    t <- system.time(z <- safe(plm(HT, data = d, model = "random", random.method = "ht", inst.method = im)))[["elapsed"]]
    if (!is.null(z)) plm_json("Wages", nm, z, t, robust = FALSE, notes = paste0("inst.method=", im, "; Baltagi 2001 p.130 / Cornwell & Rupert 1988")) }
  # lmer counterparts of the Mundlak models (within coefficients must equal the FE estimator)
  lmm_json("Grunfeld", "mundlak_lmer_reml", fit_lmer(inv ~ value + capital + value_m + capital_m + (1 | firm), "Grunfeld"), kr = TRUE)
  lmm_json("Grunfeld", "ri_lmer_reml", fit_lmer(inv ~ value + capital + (1 | firm), "Grunfeld"), kr = TRUE, club = CR)
  lmm_json("Wages", "mundlak_lmer_ml", fit_lmer(lwage ~ wks + exp + expsq + union + married + wks_m + exp_m + expsq_m + union_m + married_m + (1 | id), "Wages", FALSE), re = FALSE, infl = FALSE)
  # GEE (comparison estimator)
  suppressMessages(library(geepack))
  gee <- function(n, m, f, id, fam, cs) { dd <- get(n); dd$.id <- as.integer(dd[[id]]); dd <- dd[order(dd$.id), ]; DD <<- dd
    t <- system.time(z <- eval(bquote(geeglm(.(f), data = DD, id = .id, family = .(fam), corstr = .(cs))), globalenv()))[["elapsed"]]
    s <- summary(z); put_json(n, m, list(formula = deparse1(f), family = z$family$family, corstr = cs, id = id, nobs = nobs(z), coef_names = I(names(coef(z))), fixef = nl(coef(z)), se_robust = nl(setNames(s$coefficients[, 2], rownames(s$coefficients))),
      vcov_robust = mat(z$geese$vbeta), alpha = I(as.numeric(z$geese$alpha)), scale = as.numeric(z$geese$gamma)), deparse1(f), paste0("geepack::geeglm(", cs, ")"), t) }
  gee("epil", "gee_exchangeable", y ~ lbase * trt + lage + V4, "subject", quote(poisson), "exchangeable")
  gee("epil", "gee_ar1", y ~ lbase * trt + lage + V4, "subject", quote(poisson), "ar1")
  gee("Contraception", "gee_exchangeable", as.integer(use == "Y") ~ age + urban + livch, "district", quote(binomial), "exchangeable")
}

if ("readme" %in% SECTIONS) {
  cites <- list(
    sleepstudy = c("Belenky et al. 2003, J. Sleep Res. 12:1-12 (column w: made-up prior weights)", "lme4"), Dyestuff = c("Davies & Goldsmith 1972, Statistical Methods in Research and Production; Box & Tiao 1973", "lme4"),
    Dyestuff2 = c("Box & Tiao 1973, Bayesian Inference in Statistical Analysis (simulated)", "lme4"), Penicillin = c("Davies & Goldsmith 1972", "lme4"), Pastes = c("Davies & Goldsmith 1972", "lme4"),
    cake = c("Cook 1938 (MSc thesis, Iowa State); Cochran & Cox 1957", "lme4"), Hsb82 = c("High School & Beyond 1982; Raudenbush & Bryk 2002, Hierarchical Linear Models", "mlmRev"),
    Exam = c("Goldstein et al. 1993, Oxford Rev. Educ. 19:425-433 (MLwiN tutorial data)", "mlmRev"), InstEval = c("ETH Zurich lecture evaluations 1992-", "lme4"), Oxboys = c("Goldstein 1987, Multilevel Models", "nlme"),
    Orthodont = c("Potthoff & Roy 1964, Biometrika 51:313-326", "nlme"), egsingle = c("US Sustaining Effects Study; Raudenbush & Bryk 2002", "mlmRev"), cbpp = c("Lesnoff et al. 2004, Prev. Vet. Med. 62:101-117", "lme4"),
    Contraception = c("Huq & Cleland 1990, Bangladesh Fertility Survey 1989; Steele et al. 1996", "mlmRev"), grouseticks = c("Elston et al. 2001, Parasitology 122:563-569", "lme4"), VerbAgg = c("Vansteelandt 2000; De Boeck & Wilson 2004", "lme4"),
    epil = c("Thall & Vail 1990, Biometrics 46:657-671", "MASS"), wine = c("Randall 1989, Biometrical J. 31:781-793", "ordinal"), Grunfeld = c("Grunfeld 1958; Baltagi 2001", "plm"),
    Wages = c("Cornwell & Rupert 1988, J. Appl. Econometrics 3:149-155 (PSID)", "plm"), Crime = c("Cornwell & Trumbull 1994, Rev. Econ. Stat. 76:360-366", "plm"))
  write_readme("Reference fixtures", cites, paste(readLines(file.path(here, "README_intro.md")), collapse = "\n"))
}
