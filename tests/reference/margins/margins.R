# Estimated marginal means, slopes and adjusted pairwise comparisons by emmeans. Run in this folder: Rscript margins.R
suppressMessages({library(lmerTest); library(pbkrtest); library(emmeans); library(jsonlite)})
emm_options(lmerTest.limit = 1e5, pbkrtest.limit = 1e5)
tight <- lmerControl(optimizer = "bobyqa", optCtrl = list(rhoend = 1e-10, maxfun = 1e5), calc.derivs = FALSE)
read <- function(name) read.csv(paste0("../data/", name, ".csv"), na.strings = "")
rows <- function(x) { x <- as.data.frame(x); lapply(seq_len(nrow(x)), function(i) as.list(x[i, , drop = FALSE])) }

hsb <- read("Hsb82")
hsb$school <- factor(hsb$school); hsb$sector <- factor(hsb$sector, levels = c("Public", "Catholic"))
hsb$minrty <- factor(hsb$minrty, levels = c("No", "Yes")); hsb$sx <- factor(hsb$sx, levels = c("Male", "Female"))
hsb <- hsb[seq_len(nrow(hsb)) %% 6 == 1, ]
fit <- suppressMessages(lmer(mAch ~ sector * sx * cses + minrty * cses + meanses + I(cses^2) + (cses | school), hsb,
                             control = tight))
out <- list(hsb_rows = "row numbers %% 6 == 1, counted from 1")
for (d in c("satterthwaite", "kenward-roger")) {
  em <- emmeans(fit, ~ sector * sx, lmer.df = d)   # numbers at their means, minrty with equal weights
  out[[d]] <- list(
    means = rows(summary(em)),
    tukey = rows(summary(pairs(em, adjust = "tukey"), infer = TRUE)),
    holm = rows(summary(pairs(em, adjust = "holm"), infer = TRUE)),
    bonferroni = rows(summary(pairs(em, adjust = "bonferroni"), infer = TRUE)),
    within = rows(summary(pairs(emmeans(fit, ~ sx | sector, lmer.df = d)), infer = TRUE)),
    trends = rows(summary(emtrends(fit, ~ sector, var = "cses", lmer.df = d), infer = TRUE)),
    trends_at = rows(summary(emtrends(fit, ~ cses | minrty, var = "cses", at = list(cses = c(-1, 0.5)), lmer.df = d))))
}
cake <- read("cake")
for (v in c("recipe", "replicate")) cake[[v]] <- factor(cake[[v]])
cake$heat <- factor(cake$temperature)
holes <- cake[!(cake$recipe == "B" & cake$heat == "195") & seq_len(nrow(cake)) %% 7 != 3, ]
fit <- suppressMessages(lmer(angle ~ recipe * heat + (1 | recipe:replicate), holes, control = tight))
em <- emmeans(fit, ~ recipe * heat, lmer.df = "kenward-roger")
pairs_ <- as.data.frame(summary(pairs(emmeans(fit, ~ heat | recipe, lmer.df = "kenward-roger")), infer = TRUE))
# emmeans interpolates, and counts the mean of the empty cell; ptukey does not
pairs_$ptukey <- ptukey(sqrt(2) * abs(pairs_$t.ratio), ifelse(pairs_$recipe == "B", 5, 6), pairs_$df, lower.tail = FALSE)
out$cake <- list(means = rows(summary(em)), by_recipe = rows(pairs_))
writeLines(toJSON(out, auto_unbox = TRUE, digits = 15, pretty = TRUE, na = "null"), "margins.json")
