# Fits of lme4 to the data sets of published_precision.py: REML criterion, estimate, convergence, one line a fit.
#
#   Rscript published_precision.R FOLDER SET rows|products FIRST LAST OPTIMIZER ...
#
# FOLDER/SET/000.bin and so on hold x1 ... x6, z, g, y, one column after another as 8-byte floats. "rows" is lmer() as a
# user calls it; "default" is its default optimiser. "products" is the same criterion of the same data with the rows of
# each cluster replaced by the triangular factor of its columns, which has the same cross-products: the terms of lme4's
# criterion are put together with the true number of rows, and lme4's own optimisers and checks work on it, 50 times
# faster. Fits are added to FOLDER/SET/lme4-rows.csv or lme4-products.csv as they finish.

suppressMessages(library(lme4))

predictors <- paste0("x", 1:6)

read_set <- function(path) {
  values <- matrix(readBin(path, "double", file.size(path) / 8), ncol = 9)
  setNames(as.data.frame(values), c(predictors, "z", "g", "y"))
}

triangles <- function(data) {
  # One row per column of [1 x y] in each cluster; z is constant there, so that it is z times the column of ones.
  parts <- lapply(split(data, data$g), function(own) {
    root <- qr.R(qr(cbind(one = 1, as.matrix(own[c(predictors, "y")]))))
    data.frame(root, z = root[, "one"] * own$z[1], g = own$g[1])
  })
  transform(do.call(rbind, parts), g = factor(g))
}

criterion_of <- function(data) {
  # REML criterion as a function of theta, with the true number of rows; `optimizeLmer` works on its environment.
  fixed <- paste(c("0 + one", predictors, "z"), collapse = " + ")
  varying <- paste(c("0 + one", predictors[2:6]), collapse = " + ")
  parsed <- lFormula(as.formula(sprintf("y ~ %s + (%s | g)", fixed, varying)), triangles(data), REML = TRUE)
  inner <- do.call(mkLmerDevfun, parsed)
  home <- environment(inner)
  home$inner <- inner
  home$df <- nrow(data) - ncol(parsed$X)
  home$evaluations <- 0L
  criterion <- function(theta) {
    inner(theta)
    evaluations <<- evaluations + 1L
    pp$ldL2() + pp$ldRX2() + df * (1 + log(2 * pi * (resp$wrss() + pp$sqrL(1)) / df))
  }
  environment(criterion) <- home
  criterion
}

settings <- function(optimizer) if (optimizer == "default") lmerControl() else lmerControl(optimizer = optimizer)

from_products <- function(data, optimizer) {
  criterion <- criterion_of(data)
  home <- environment(criterion)
  control <- settings(optimizer)
  seconds <- system.time(found <- suppressWarnings(suppressMessages(optimizeLmer(
    criterion, control$optimizer, control$restart_edge, control$boundary.tol, control = control$optCtrl
  ))))[["elapsed"]]
  checks <- suppressWarnings(suppressMessages(lme4:::checkConv(
    attr(found, "derivs"), found$par, ctrl = control$checkConv, lbound = home$lower
  )))
  deviance <- criterion(found$par)
  place <- match("z", colnames(home$pp$X))
  sigma2 <- (home$resp$wrss() + home$pp$sqrL(1)) / home$df
  list(
    deviance = deviance, z = home$pp$beta(1)[place], se = sqrt(sigma2 * home$pp$unsc()[place, place]),
    evaluations = home$evaluations, code = found$conv, singular = any(found$par[home$lower == 0] < 1e-4),
    seconds = seconds, said = unlist(checks$messages)
  )
}

from_rows <- function(data, optimizer) {
  form <- y ~ x1 + x2 + x3 + x4 + x5 + x6 + z + (x2 + x3 + x4 + x5 + x6 | g)
  seconds <- system.time(
    fit <- suppressWarnings(suppressMessages(lmer(form, data, control = settings(optimizer))))
  )[["elapsed"]]
  list(
    deviance = REMLcrit(fit), z = fixef(fit)[["z"]], se = sqrt(vcov(fit)["z", "z"]),
    evaluations = fit@optinfo$feval, code = fit@optinfo$conv$opt, singular = isSingular(fit),
    seconds = seconds, said = unlist(fit@optinfo$conv$lme4$messages)
  )
}

asked <- commandArgs(trailingOnly = TRUE)
place <- file.path(asked[1], asked[2])
fitted_by <- list(rows = from_rows, products = from_products)[[asked[3]]]
out <- file.path(place, sprintf("lme4-%s.csv", asked[3]))
for (number in as.integer(asked[4]):as.integer(asked[5])) {
  data <- read_set(file.path(place, sprintf("%03d.bin", number)))
  for (optimizer in asked[-(1:5)]) {
    fit <- fitted_by(data, optimizer)
    warned <- any(grepl("failed|unable|degenerate", fit$said)) || any(fit$code != 0)
    line <- data.frame(
      number = number, data = asked[3], optimizer = optimizer, deviance = sprintf("%.6f", fit$deviance), z = fit$z,
      se = fit$se, evaluations = max(fit$evaluations, 0), code = max(fit$code), warned = warned,
      singular = fit$singular, seconds = round(fit$seconds, 2), message = gsub("[,\n\"]", " ", paste(fit$said, collapse = "; "))
    )
    write.table(line, out, append = file.exists(out), col.names = !file.exists(out), row.names = FALSE, sep = ",")
  }
}
writeLines(c(
  R.version.string, sapply(c("lme4", "minqa", "nloptr", "Matrix"), function(name) paste(name, packageVersion(name)))
), file.path(asked[1], "versions.txt"))
