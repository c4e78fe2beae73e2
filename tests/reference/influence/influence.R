# Estimates of mixed models without each cluster, by lme4::influence, which fits the model again to the other rows with
# lme4's default optimiser. Run in this folder: Rscript influence.R
suppressMessages({library(lme4); library(jsonlite)})
read <- function(name) read.csv(file.path("..", "data", paste0(name, ".csv")), stringsAsFactors = TRUE)
tight <- lmerControl(optimizer = "bobyqa", optCtrl = list(rhoend = 1e-11, maxfun = 1e5), calc.derivs = FALSE)

left_out <- function(dataset, formula, group) {
  rows <<- read(dataset)
  rows[[group]] <<- factor(rows[[group]])
  if ("Sex" %in% names(rows)) rows$Sex <<- factor(rows$Sex, levels = c("Male", "Female"))  # as in the schema
  fit <- do.call(lmer, list(as.formula(formula), data = quote(rows), control = quote(tight)))
  found <- influence(fit, groups = group, maxfun = 1e5)
  entry <- function(start) found[[grep(paste0("^", start, "\\[-"), names(found))]]
  vcovs <- lapply(entry("vcov"), as.matrix)
  p <- length(fixef(fit))
  list(
    dataset = dataset, formula = formula, group = group, levels = rownames(entry("fixed.effects")),
    coef_names = names(fixef(fit)), estimates = unname(entry("fixed.effects")),
    se = matrix(sapply(vcovs, function(v) sqrt(diag(v))), ncol = p, byrow = TRUE),
    log_det = unname(sapply(vcovs, function(v) as.numeric(determinant(v)$modulus))),
    cooks_distance = unname(as.numeric(cooks.distance(found))), variances = unname(entry("var.cov.comps")),
    whole = list(estimates = unname(fixef(fit)), vcov = unname(as.matrix(vcov(fit))))
  )
}

out <- list(
  versions = list(R = R.version.string, lme4 = as.character(packageVersion("lme4"))),
  cases = list(
    left_out("sleepstudy", "Reaction ~ Days + (Days | Subject)", "Subject"),
    left_out("Dyestuff", "Yield ~ 1 + (1 | Batch)", "Batch"),
    left_out("Pastes", "strength ~ 1 + (1 | batch/cask)", "batch"),
    left_out("Orthodont", "distance ~ age * Sex + (age | Subject)", "Subject")
  )
)
writeLines(toJSON(out, auto_unbox = TRUE, digits = 12), "influence.json")
