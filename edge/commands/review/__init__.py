"""What a run kept, judged by a person: `items` reads it, `judged` keeps verdicts and makes data sets of them, `site` answers the page."""
