# Writes survey.sas7bdat, the only SAS file in the tests: pyreadstat and pandas read the format but do not write it.
# Run in this folder: Rscript survey.R   (made with haven 2.5.1, whose writer is that of ReadStat; R 4.2.2)
library(haven)
survey <- data.frame(
  school = c("01", "02", "03", "04", ""),
  score = c(1.5, NA, -3, 1e10, 0.1),
  pupils = c(1L, 2L, 3L, NA, 5L),
  day = as.Date(c("2020-01-01", "1999-12-31", NA, "1960-01-01", "2026-07-01"))
)
attr(survey$school, "label") <- "School"
attr(survey$score, "label") <- "Test score (points)"
write_sas(survey, "survey.sas7bdat")
