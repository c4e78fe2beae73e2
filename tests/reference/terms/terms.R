# Tests of terms, types II and III, of models with factors: lmerTest (Satterthwaite) and pbkrtest (Kenward-Roger);
# degrees of freedom of coefficients by nlme for nested factors.
# Run in this folder: Rscript terms.R. The rows used are named by `keep`, of rows numbered from 1.
suppressMessages({library(lmerTest); library(pbkrtest); library(nlme); library(jsonlite)})

tight <- lmerControl(optimizer = "bobyqa", optCtrl = list(rhoend = 1e-10, maxfun = 1e5), calc.derivs = FALSE)
table_of <- function(a) lapply(seq_len(nrow(a)), function(i)
  list(term = rownames(a)[i], df_num = a[i, "NumDF"], df_den = a[i, "DenDF"], statistic = a[i, "F value"]))
record <- function(name, data, keep, formula, ours, frame, types = 2:3) {
  fit <- suppressMessages(lmer(formula, frame, control = tight))
  out <- list(name = name, data = data, keep = keep, formula = ours)
  ddfs <- c(satterthwaite = "Satterthwaite", "kenward-roger" = "Kenward-Roger")
  for (d in names(ddfs)) for (t in types)
    out[[paste(d, t)]] <- table_of(anova(fit, type = t, ddf = ddfs[[d]]))
  out
}

read <- function(name) read.csv(paste0("../data/", name, ".csv"), na.strings = "")
cake <- read("cake")
cake$recipe <- factor(cake$recipe); cake$replicate <- factor(cake$replicate); cake$heat <- factor(cake$temperature)
i <- seq_len(nrow(cake))
uneven <- cake[i %% 7 != 3 & i %% 5 != 1, ]
holes <- cake[!(cake$recipe == "B" & cake$heat == "195") & i %% 7 != 3, ]
hsb <- read("Hsb82")
hsb$school <- factor(hsb$school); hsb$sector <- factor(hsb$sector, levels = c("Public", "Catholic"))
hsb$minrty <- factor(hsb$minrty, levels = c("No", "Yes")); hsb$sx <- factor(hsb$sx, levels = c("Male", "Female"))
some <- hsb[seq_len(nrow(hsb)) %% 6 == 1, ]
eval_ <- read.csv("../data/InstEval.csv.gz")
for (v in c("s", "d", "studage", "lectage", "service", "dept")) eval_[[v]] <- factor(eval_[[v]])
ratings <- droplevels(eval_[eval_$dept %in% c("5", "10", "12") & as.integer(as.character(eval_$s)) %% 40 == 7, ])

fits <- list(
  record("split plot, uneven", "cake", "uneven", angle ~ recipe * heat + (1 | replicate:recipe),
         "angle ~ recipe * heat + (1 | replicate:recipe)", uneven),
  record("an empty cell", "cake", "holes", angle ~ recipe * heat + (1 | replicate),
         "angle ~ recipe * heat + (1 | replicate)", holes),
  record("three levels", "cake", "uneven", angle ~ recipe * heat + (1 | replicate / recipe),
         "angle ~ recipe * heat + (1 | replicate / recipe)", uneven),
  record("factors and slopes", "Hsb82", "some", mAch ~ sector * cses * sx + minrty + meanses + (cses | school),
         "mAch ~ sector * cses * sx + minrty + meanses + (cses | school)", some),
  record("no main effect", "Hsb82", "some", mAch ~ sx + sector:cses + (1 | school),
         "mAch ~ sx + sector:cses + (1 | school)", some, types = 3),  # lmerTest's type II takes sx to contain sector:cses
  record("crossed", "InstEval", "ratings", y ~ service * studage + dept + (1 | s) + (1 | d),
         "y ~ service * studage + dept + (1 | s) + (1 | d)", ratings))
nlme_df <- function(data, formula, random, ours, frame) {
  table <- summary(lme(formula, frame, random))$tTable
  list(data = data, formula = ours, terms = rownames(table), df = unname(table[, "DF"]))
}
grades <- read("egsingle")
for (v in c("childid", "schoolid", "female")) grades[[v]] <- factor(grades[[v]])
nested <- list(
  nlme_df("cake", angle ~ recipe * temp, ~ 1 | replicate / recipe, "angle ~ recipe * temp + (1 | replicate / recipe)", cake),
  nlme_df("Hsb82", mAch ~ cses * sector + meanses, ~ cses | school, "mAch ~ cses * sector + meanses + (cses | school)", hsb),
  nlme_df("egsingle", math ~ year * size + female + lowinc, ~ 1 | schoolid / childid,
          "math ~ year * size + female + lowinc + (1 | schoolid / childid)", grades))
versions <- list(R = R.version.string, lmerTest = as.character(packageVersion("lmerTest")),
                 pbkrtest = as.character(packageVersion("pbkrtest")), lme4 = as.character(packageVersion("lme4")), nlme = as.character(packageVersion("nlme")))
write(toJSON(list(versions = versions, fits = fits, nlme = nested), digits = 15, auto_unbox = TRUE, pretty = TRUE), "terms.json")
