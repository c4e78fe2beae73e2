# One method of R's packages on one model:
# Rscript inference.R TASK FORMULA FILE.csv COEFFICIENT DRAWS [THETA ...]
# With THETA the model is taken at these values in place of a fit. Prints lines "time WALL CPU" and "value NAME NUMBER".
suppressPackageStartupMessages(library(lme4))
args <- commandArgs(TRUE)
task <- args[1]
formula <- as.formula(args[2])
data <- read.csv(args[3], stringsAsFactors = TRUE)
if ("sector" %in% names(data)) data$sector <- factor(data$sector, levels = c("Public", "Catholic"))
coefficient <- args[4]
draws <- as.integer(args[5])
theta <- as.numeric(args[-(1:5)])

fit <- if (length(theta)) {
  control <- lmerControl(optCtrl = list(maxeval = 1), calc.derivs = FALSE, check.conv.grad = "ignore")
  suppressWarnings(lmer(formula, data, start = theta, control = control))
} else {
  lmer(formula, data)
}
cat("value criterion", format(-2 * as.numeric(logLik(fit)), digits = 15), "\n")
columns <- diag(length(fixef(fit)))
position <- match(coefficient, names(fixef(fit)))
if (task %in% c("kenward-roger summary", "satterthwaite", "test_random")) {
  suppressPackageStartupMessages(library(lmerTest))
}
if (task %in% c("kenward-roger summary", "test_random")) tested <- as_lmerModLmerTest(fit)

run <- switch(task,
  "kenward-roger" = function() {
    adjusted <- pbkrtest::vcovAdj(fit)
    df <- apply(columns, 2, function(l) pbkrtest::Lb_ddf(l, vcov(fit), adjusted))
    c(std_error = sqrt(adjusted[position, position]), df = df[position])
  },
  "kenward-roger summary" = function() {
    table <- coef(summary(tested, ddf = "Kenward-Roger"))
    c(std_error = table[position, "Std. Error"], df = table[position, "df"])
  },
  "satterthwaite" = function() {
    table <- coef(summary(as_lmerModLmerTest(fit), ddf = "Satterthwaite"))
    c(std_error = table[position, "Std. Error"], df = table[position, "df"])
  },
  "cr2" = function() {
    table <- clubSandwich::coef_test(fit, vcov = "CR2", test = "Satterthwaite")
    c(std_error = table[position, "SE"], df = table[position, grep("^df", names(table))])
  },
  "profile" = function() {
    interval <- suppressWarnings(confint(profile(fit, signames = FALSE)))
    standard_deviation <- grep("^sd_\\(Intercept\\)", rownames(interval))
    c(low = interval[coefficient, 1], high = interval[coefficient, 2],
      sd_low = interval[standard_deviation, 1], sd_high = interval[standard_deviation, 2])
  },
  "parametric" = function() {
    boot <- suppressWarnings(suppressMessages(bootMer(fit, fixef, nsim = draws, seed = 1)))
    c(std_error = sd(boot$t[, position]))
  },
  "test_random" = function() c(statistic = suppressMessages(ranova(tested))[2, "LRT"])
)

times <- list()
timed <- function() {
  t <- system.time(found <<- run())
  times[[length(times) + 1]] <<- c(t[["elapsed"]], t[["user.self"]] + t[["sys.self"]])
}
timed()
if (times[[1]][2] < 5) {
  times <- list()
  for (i in 1:3) timed()
}
for (pair in times) cat("time", pair, "\n")
for (name in names(found)) cat("value", name, format(found[[name]], digits = 15), "\n")
